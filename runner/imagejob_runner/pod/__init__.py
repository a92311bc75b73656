"""The command `imagejob-runner`: what runs in the pods of an ImageJob. `imagejob_api.pod` is its agreement with the operator."""
