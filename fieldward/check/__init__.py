"""Whether an installation is as it must be where other people's data are served: what is found, why, and what to do."""
