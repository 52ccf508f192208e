"""Write files whole or not at all, open compressed ones, and cache arrays on disk."""
