"""The site: settings, engines, addresses and the commands that start and test everything."""
