"""The operators' side of the web page: FAQ collections, what to write next, and settings, for whoever has the key."""
