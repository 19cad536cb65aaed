"""Train the networks whose weights come with the package, with fixed seeds.

Run it with `uv run python docs/train_networks.py`. It takes five minutes on two cores. What
the lessons tell of these networks is tested on networks that are trained again
(`tests/lab/test_findings.py`).
"""

import sys

from cutwidgets import lab
from cutwidgets.lab.shipped import SHIPPED, save_weights

for name in sys.argv[1:] or SHIPPED:
    network = lab.trained(**SHIPPED[name], retrain=True)
    save_weights(name, network)
    error = 1 - network.evaluate(*lab.digits().test, verbose=0)[1]
    print(f"{name}: test error {error:.1%}")
