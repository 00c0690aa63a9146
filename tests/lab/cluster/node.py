"""The configuration files of a lab's programs."""

import base64
import json
from pathlib import Path
from string import Template
from typing import Any

from tests.lab.cluster.paths import API_PORT, CLUSTER_DOMAIN, NODE_ADDRESS, NODE_NAME, POD_RANGE, Lab

PAUSE_IMAGE = "localhost/flywheel/pause:1"
CNI_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
USERS = (
    "admin",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "coredns-user",
    "metrics-server-user",
)

CONTAINERD = Template("""\
version = 3
root = "$state/containerd/root"
state = "$state/containerd/state"
# The machine may forbid to lower it.
oom_score = 0
# These write outside the lab, or are for hardware and file systems that it does not use.
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "$socket"
[ttrpc]
  address = "$socket.ttrpc"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "$snapshotter"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "$pause"

[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE no pod would start otherwise; with it this changes nothing.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = $cni_directories
    conf_dir = "$config/cni"
""")

COREFILE = Template("""\
$domain:53 in-addr.arpa:53 {
    bind $address
    kubernetes $domain in-addr.arpa {
        kubeconfig $config/coredns-user.kubeconfig
        pods insecure
        ttl 5
    }
    cache 5
}
.:53 {
    bind $address
    # There is no way out of the lab, so nothing else has a name; saying so at once spares programs a time-out.
    template ANY ANY .
}
""")


def write_configuration(lab: Lab, api_url: str) -> None:
    """Write every configuration file of `lab`; `api_url` is the API server as programs on the host reach it."""
    (lab.config / "cni").mkdir(parents=True)
    values = {
        "state": lab.state,
        "config": lab.config,
        "socket": lab.containerd_socket,
        "pause": PAUSE_IMAGE,
        "snapshotter": _snapshotter(lab.state),
        "cni_directories": json.dumps([path for path in CNI_DIRECTORIES if Path(path).is_dir()]),
        "domain": CLUSTER_DOMAIN,
        "address": NODE_ADDRESS,
    }
    (lab.config / "containerd.toml").write_text(CONTAINERD.substitute(values))
    (lab.config / "Corefile").write_text(COREFILE.substitute(values))
    (lab.config / "cni/10-lab.conflist").write_text(json.dumps(_pod_network(lab)))
    (lab.config / "kubelet.json").write_text(json.dumps(_kubelet(lab)))
    (lab.config / "kube-proxy.json").write_text(json.dumps(_kube_proxy(lab)))
    for user in USERS:
        kubeconfig = _kubeconfig(lab, user, f"https://{NODE_ADDRESS}:{API_PORT}")
        (lab.config / f"{user}.kubeconfig").write_text(json.dumps(kubeconfig))
    lab.kubeconfig.touch(mode=0o600)
    lab.kubeconfig.write_text(json.dumps(_kubeconfig(lab, "admin", api_url), indent=2) + "\n")


def _pod_network(lab: Lab) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(lab.state / "cni"),
    }
    bridge = {
        "type": "bridge",
        "bridge": "pods0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": addresses,
    }
    return {
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def _kubelet(lab: Lab) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(lab.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(lab.pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(lab.pki / "kubelet-server.key"),
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{lab.cgroup}",
        "enforceNodeAllocatable": ["pods"],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "containerRuntimeEndpoint": f"unix://{lab.containerd_socket}",
        "podLogsDir": str(lab.state / "pod-logs"),
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(lab.state / "node/resolv.conf"),
        "maxPods": 250,
        # Tests kill programs again and again; what they wait for is not the kubelet's patience.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
        "serializeImagePulls": False,
        "nodeStatusUpdateFrequency": "5s",
        # A full disk of the developer's machine must not empty the lab, and nothing could pull a deleted image again.
        "evictionHard": dict.fromkeys(
            ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"),
            "0%",
        ),
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def _kube_proxy(lab: Lab) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE_NAME,
        "oomScoreAdj": 0,
        "clientConnection": {"kubeconfig": str(lab.config / "kube-proxy.kubeconfig")},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _kubeconfig(lab: Lab, user: str, server: str) -> dict[str, Any]:
    def embedded(file: str) -> str:
        return base64.b64encode((lab.pki / file).read_bytes()).decode()

    name = f"flywheel-lab-{lab.name}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": embedded("ca.crt")}}],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": embedded(f"{user}.crt"),
                    "client-key-data": embedded(f"{user}.key"),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }


def _snapshotter(state: Path) -> str:
    """An overlay cannot be stacked on another one, as inside a container."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    holding = [(len(Path(mount).parts), kind) for mount, kind in mounts if state.is_relative_to(mount)]
    return "native" if max(holding)[1] == "overlay" else "overlayfs"
