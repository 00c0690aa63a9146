"""Events from visitors to the store: model, validation, ingestion, storage."""
