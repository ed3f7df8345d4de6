"""Plans for real runs: asked for, trained by whoever asked, told; outcomes read from whatever logs there are."""
