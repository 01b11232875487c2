"""Figures of stored results for papers and for the page; each is a pure function that returns a matplotlib `Figure`."""
