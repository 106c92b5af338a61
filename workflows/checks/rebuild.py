"""Mend a database whose server was killed in the midst of writing, as `mongod --repair` does: documents stay, indexes are new."""

from __future__ import annotations

from typing import Any

import pymongo
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

OF_THE_SERVER = {"admin", "config", "local"}


def rebuild(uri: str) -> int:
    """Write every collection anew, documents and indexes.

    For checks: nothing else may use the server meanwhile, and what an interruption dropped is lost. Of two documents with
    one unique key, which the damaged index did not keep apart, the later stays.

    Returns
    -------
    int
        How many documents their own unique indexes did not lead to.
    """
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(uri)
    damaged = 0
    for name in sorted(set(client.list_database_names()) - OF_THE_SERVER):
        for collection in client[name].list_collection_names():
            damaged += _rebuild_collection(client[name][collection])
    client.close()
    return damaged


def _rebuild_collection(collection: Collection[dict[str, Any]]) -> int:
    indexes = {name: made for name, made in collection.index_information().items() if name != "_id_"}
    unique = [["_id"]] + [[field for field, _ in made["key"]] for made in indexes.values() if made.get("unique")]
    documents = list(collection.find({}))
    damaged = sum(not _found(collection, unique, document) for document in documents)
    collection.drop()
    for name, made in indexes.items():
        options = {key: made[key] for key in ("unique", "sparse") if key in made}
        collection.create_index(made["key"], name=name, **options)
    for document in documents:
        try:
            collection.insert_one(document)
        except DuplicateKeyError:
            for key in filter(None, (_key(document, fields) for fields in unique)):
                collection.delete_many(key)
            collection.insert_one(document)
    return damaged


def _found(collection: Collection[dict[str, Any]], unique: list[list[str]], document: dict[str, Any]) -> bool:
    """Whether each unique index leads to the document."""
    keys = [_key(document, fields) for fields in unique]
    return all(
        (there := collection.find_one(key)) is not None and there["_id"] == document["_id"] for key in keys if key
    )


def _key(document: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    """What a unique index holds of a document; empty if it lacks a field."""
    values: dict[str, Any] = {}
    for field in fields:
        value: Any = document
        for part in field.split("."):
            if not isinstance(value, dict) or part not in value:
                return {}
            value = value[part]
        values[field] = value
    return values
