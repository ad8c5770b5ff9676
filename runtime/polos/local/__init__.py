"""The embedded backend: one SQLite database, in a file or in memory, and a worker inside this process."""
