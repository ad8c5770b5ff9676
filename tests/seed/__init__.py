"""The page that the product was asked to implement: its snippets as written, and tests that run them."""
