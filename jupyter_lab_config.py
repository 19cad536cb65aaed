"""JupyterLab's settings for this project; hatch_build.py says how JupyterLab finds them."""

c = get_config()  # noqa: F821

# The default extension manager asks a package index for a list of extensions before the page
# answers; on a closed network that hangs for minutes. Installed extensions still work.
c.LabApp.extension_manager = "readonly"

# In containers (Binder, Docker) one is often root, and the notebook runs there as any program does.
c.ServerApp.allow_root = True
