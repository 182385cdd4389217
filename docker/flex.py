"""What a Flex Template's launcher starts, with the parameters of `metadata.json` and Beam's as flags."""

import sys

from poolsieve.jobs.flex import launch

if __name__ == "__main__":
    launch(sys.argv[1:])
