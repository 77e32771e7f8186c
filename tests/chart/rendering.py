"""The chart as helm renders it."""

import json
import subprocess
from pathlib import Path

import yaml

CHART = Path(__file__).parents[2] / "charts/dask-flow"


class Chart:
    """The chart as helm renders it."""

    def run(self, values, *args, release="r", namespace="ns"):
        command = ["helm", "template", release, str(CHART), "-n", namespace, "-f", "-", *args]
        return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)

    def text(self, *args, **values):
        done = self.run(values, *args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, *args, **values):
        return [each for each in yaml.safe_load_all(self.text(*args, **values)) if each]

    def only(self, kind, *args, **values):
        found = [each for each in self.objects(*args, **values) if each["kind"] == kind]
        assert len(found) == 1, f"{len(found)} objects of kind {kind}"
        return found[0]

    def job_spec(self, **values):
        return self.only("CronJob", **values)["spec"]["jobTemplate"]["spec"]

    def pod(self, **values):
        return self.job_spec(**values)["template"]["spec"]

    def error(self, **values):
        done = self.run(values)
        assert done.returncode != 0, "helm accepted these values"
        return done.stderr
