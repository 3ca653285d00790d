"""Download the images of a table of URLs: addresses checked, hosts spared, a status stored for each URL."""
