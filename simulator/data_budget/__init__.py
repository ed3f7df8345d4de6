"""How much text a plan has, how often it repeats, and when public text is used up."""
