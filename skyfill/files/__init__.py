"""Write files atomically, open compressed files, and cache arrays on disk."""
