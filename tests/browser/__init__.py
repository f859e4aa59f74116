"""The page in a real browser. `nox -s browser` runs these; they need Chromium."""
