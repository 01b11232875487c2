"""One HTML file of stored results, whole without JavaScript and without a network."""
