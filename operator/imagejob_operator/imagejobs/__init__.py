"""What happens to an ImageJob: a pure planner says what to do, and the controller does it."""
