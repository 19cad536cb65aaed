"""Where the project is worked on, in its clone, JupyterLab must find `jupyter_lab_config.py`.

JupyterLab looks into its environment's `etc/jupyter`, not into the current directory. An editable
install, which is what `uv run` makes, puts the file there; a wheel for others does not.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    """Adds the configuration of JupyterLab to editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before each build."""
        if version == "editable":
            build_data["shared_data"]["jupyter_lab_config.py"] = "etc/jupyter/jupyter_lab_config.py"
