"""Where models come from: files of the Hub, its cache, and what goes wrong there in words."""
