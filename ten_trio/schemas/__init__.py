"""What addons declare about themselves: manifests, and the schemas of properties and messages."""

from __future__ import annotations

from .declarations import compile_type as compile_type
from .lookup import (
    Api as Api,
    ApiSchemas as ApiSchemas,
    Direction as Direction,
    MessageApi as MessageApi,
)
from .manifest import (
    Dependency as Dependency,
    Manifest as Manifest,
    ManifestError as ManifestError,
    load_manifest as load_manifest,
    parse_manifest as parse_manifest,
)
from .reading import DocumentError as DocumentError
from .schema import (
    ArraySchema as ArraySchema,
    ObjectSchema as ObjectSchema,
    Scalar as Scalar,
    Schema as Schema,
)
