"""Lambda entry point: starts and resumes executions, and runs the code of workflows."""

from polos.aws import lambda_handler

handler = lambda_handler("work")
