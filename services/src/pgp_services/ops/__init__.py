"""What `pgp-services ops …` does: the fleet on Google Cloud, set up, deployed, verified; no terminal in here."""
