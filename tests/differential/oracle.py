"""Write what Prefect 1 does with each case, as JSON, to the file named by the first argument. Runs in .venv-oracle."""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ["PREFECT__LOGGING__LEVEL"] = "CRITICAL"

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    import prefect
    from flows import CASES
    from harness import run_case

    # Each of the run's tasks may set a level for itself; what they log is not wanted here.
    prefect.utilities.logging.get_logger().handlers.clear()
    outcomes = {name: run_case("prefect", case) for name, case in CASES.items()}
    Path(sys.argv[1]).write_text(json.dumps(outcomes, indent=1, sort_keys=True, ensure_ascii=False), encoding="utf-8")
