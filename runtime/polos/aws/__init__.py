"""polos on AWS: the only package that knows boto3."""

from polos.aws.backend import aws_backend
from polos.aws.entry import lambda_handler
from polos.aws.settings import Settings, in_environment

__all__ = ["Settings", "aws_backend", "in_environment", "lambda_handler"]
