"""From a request to a job to a picture. A newcomer reads `request`, then `job`; the calls are in `api`."""
