"""The zero-cost proxies, as plain words that a recipe may hold."""

from typing import Literal, get_args

Proxy = Literal["grad_norm", "synflow", "jacobian"]
"""What one gradient says of a subnet; more of it is taken to be better.

``grad_norm`` is the length of the loss's gradient, ``synflow`` how much flows along all
paths through the weights, and ``jacobian`` how differently outputs depend on different
inputs. The equations are in `supernets.proxies.measures`.
"""

PROXIES: tuple[Proxy, ...] = get_args(Proxy)
"""All of them."""


def metric_name(proxy: Proxy) -> str:
    """Returns what a proxy is called among the metrics of a subnet.

    >>> metric_name("synflow")
    'proxy_synflow'
    """
    return f"proxy_{proxy}"
