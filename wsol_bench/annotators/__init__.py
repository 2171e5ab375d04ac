"""Programs that draw pseudo-boxes without manual boxes."""
