"""Model folders: config.json, weights and card; where they are found, bundled and shared."""
