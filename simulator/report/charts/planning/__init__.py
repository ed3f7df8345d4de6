"""Pictures of what could be planned: fronts of a study, curves of equal compute or loss, what moves a plan, mixes."""
