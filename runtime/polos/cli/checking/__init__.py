"""The static checker behind `polos check`: reads source with `ast`, imports and runs nothing of it.

findings   what is reported, and reading files           source     one module: imports, workflows, helpers, scopes
modules    functions and classes imported from other files
forbidden  the calls that do not belong into a body      body       clock, randomness, I/O, raw timeouts, lost awaits
flow       the ways through a body                       keys       which step keys are used twice on one of them

It checks async workflows and the functions and methods of the application that they call; what is handed to a step is
not checked. When in doubt it says nothing.
"""
