"""The API of imagejob as pydantic models: ImageJob, ImagePipeline, NodeLimit."""
