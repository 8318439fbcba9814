"""The manual pages; pages.py writes the settings into them."""
