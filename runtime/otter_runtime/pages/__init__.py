"""Pages for people: one HTML file each, readable offline, in light and dark, and printable."""
