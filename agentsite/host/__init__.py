"""A request, from arrival to last frame: lifecycle, runs, driver, journal, hub, wire."""
