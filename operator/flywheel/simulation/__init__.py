"""Shoppers that are not there: seeded journeys through a campaign's shop."""
