"""Names that more than one part of imagejob, or a user, relies on."""

from typing import Final

GROUP: Final = "imagejob.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "imagejob.dev/v1alpha1"
CATEGORY: Final = "imagejob-all"
"""For `kubectl get imagejob-all`. Not `imagejob`: kubectl takes a category before the kind of that name, and `get imagejob NAME` would
fail."""

MAX_CHUNK_SIZE: Final = 131_072
"""What the fastest GPU known does in ten seconds."""
MAX_INLINE_URLS: Final = 1000
MAX_INLINE_CHARACTERS: Final = 160 * 1024
"""Of all inline URLs and their ids together."""
MAX_OBJECT_CHARACTERS: Final = 200 * 1024
"""Of an ImageJob or an ImagePipeline with its labels and annotations."""
MAX_JOB_NAME: Final = 52
MAX_PRIORITY: Final = 1_000_000
"""In either direction."""
DEFAULT_GPU_RESOURCE: Final = "nvidia.com/gpu"

SOURCE_SCHEMES: Final = ("file", "http", "https", "s3", "gs", "az", "pkg")
OUTPUT_SCHEMES: Final = ("file", "s3", "gs", "az")
