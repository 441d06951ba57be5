"""System checks: what cannot work, with an id and a hint."""
