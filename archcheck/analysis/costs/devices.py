"""The accelerators whose memory, bandwidth and peak rates are known, from their vendors' pages.

Rates are dense (no structured sparsity), on the matrix units where there are such; `fp32` is that
of ordinary arithmetic, `tf32` that of the matrix units on singles. A rate that the vendor doesn't
state for the part is None. Sizes are those of the data sheet; what a driver leaves of them is less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from archcheck.core.config import parse_bytes
from archcheck.core.known_names import known

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator.

    Attributes:
        memory: In bytes, as the vendor states it.
        bandwidth: In bytes a second; None where it is not known.
        rates: FLOP a second by `fp32`, `tf32`, `fp16`, `bf16`, `fp8`.
        source: The vendor's page; `date`: the month of the state that was read.
    """

    name: str
    memory: int
    bandwidth: float | None = None
    rates: Mapping[str, float] | None = None
    source: str = ""
    date: str = ""

    def rate(self, dtype: str) -> float | None:
        """The peak rate of products in a dtype."""
        return (self.rates or {}).get(dtype)


# Name, GiB, GB/s, TFLOP/s of fp32, tf32, fp16, bf16, fp8, the page, its date.
_H100 = "NVIDIA H100 Tensor Core GPU data sheet"
_A100 = "NVIDIA A100 Tensor Core GPU data sheet"
_ADA = "NVIDIA Ada GPU Architecture white paper"
_GA102 = "NVIDIA Ampere GA102 GPU Architecture white paper"
_BLACKWELL = "NVIDIA RTX Blackwell GPU Architecture white paper"
_CLOUD_TPU = "Google Cloud TPU system architecture"
_ROWS = f"""
b200|180|8000|75|1100|2250|2250|4500|NVIDIA HGX B200 data sheet|2025-03
b300|270|8000|75|1100|2250|2250|4500|NVIDIA HGX B300 data sheet|2025-08
gh200-96gb|96|4000|67|494|989|989|1979|NVIDIA GH200 Grace Hopper Superchip data sheet|2023-11
gh200-144gb|144|4900|67|494|989|989|1979|NVIDIA GH200 Grace Hopper Superchip data sheet|2023-11
h200|141|4800|67|494|989|989|1979|NVIDIA H200 Tensor Core GPU data sheet|2024-11
h200-nvl|141|4800|60|417|835|835|1671|NVIDIA H200 Tensor Core GPU data sheet|2024-11
h100-80gb|80|3350|67|494|989|989|1979|{_H100}|2024-04
h100-pcie-80gb|80|2000|51|378|756|756|1513|{_H100}|2023-03
h100-nvl-94gb|94|3900|60|417|835|835|1671|{_H100}|2024-04
h20-96gb|96|4000|44|74|148|148|296|NVIDIA H20 product brief|2024-01
a100-80gb|80|2039|19.5|156|312|312||{_A100}|2022-05
a100-pcie-80gb|80|1935|19.5|156|312|312||{_A100}|2022-05
a100-40gb|40|1555|19.5|156|312|312||{_A100}|2021-06
a30|24|933|10.3|82|165|165||NVIDIA A30 data sheet|2022-03
a40|48|696|37.4|74.8|149.7|149.7||NVIDIA A40 data sheet|2021-10
a10|24|600|31.2|62.5|125|125||NVIDIA A10 data sheet|2022-03
a10g|24|600||||||AWS EC2 G5 instances page|2022-11
a16|16|200|4.5|9|17.9|17.9||NVIDIA A16 data sheet, each of four|2022-03
a2|16|200|4.5|9|18|18||NVIDIA A2 data sheet|2022-03
l40s|48|864|91.6|183|362|362|733|NVIDIA L40S data sheet|2023-12
l40|48|864|90.5|90.5|181|181|362|NVIDIA L40 data sheet|2023-03
l4|24|300|30.3|60|121|121|242|NVIDIA L4 data sheet|2023-03
l20|48|864|59.8|59.8|119.5|119.5|239|NVIDIA L20 product brief|2024-01
v100-32gb|32|900|15.7||125|||NVIDIA V100 Tensor Core GPU data sheet|2020-01
v100-16gb|16|900|15.7||125|||NVIDIA V100 Tensor Core GPU data sheet|2020-01
t4|16|320|8.1||65|||NVIDIA T4 Tensor Core GPU data sheet|2019-02
p100-16gb|16|732|10.6||21.2|||NVIDIA Tesla P100 data sheet|2016-10
rtx-6000-ada|48|960|91.1|182.1|364.2|364.2|728.5|NVIDIA RTX 6000 Ada data sheet|2023-02
rtx-a6000|48|768|38.7|77.4|154.8|154.8||NVIDIA RTX A6000 data sheet|2021-01
rtx-a5000|24|768|27.8|55.6|111.1|111.1||NVIDIA RTX A5000 data sheet|2021-04
rtx-pro-6000|96|1792|125|||||NVIDIA RTX PRO 6000 Blackwell data sheet|2025-03
rtx-5090|32|1792|104.8|104.8|209.5|209.5|419|{_BLACKWELL}|2025-01
rtx-5080|16|960|56.3|56.3|112.6|112.6|225.1|{_BLACKWELL}|2025-01
rtx-5070-ti|16|896|43.9|43.9|87.9|87.9|175.8|{_BLACKWELL}|2025-01
rtx-4090|24|1008|82.6|82.6|165.2|165.2|330.3|{_ADA}|2023-01
rtx-4080|16|717|48.7|48.7|97.5|97.5|194.9|{_ADA}|2023-01
rtx-4070-ti|12|504|40.1|40.1|80.2|80.2|160.4|{_ADA}|2023-01
rtx-3090|24|936|35.6|35.6|71|71||{_GA102}|2021-02
rtx-3090-ti|24|1008|40||||| GeForce RTX 3090 Ti page|2022-03
rtx-3080|10|760|29.8|29.8|59.5|59.5||{_GA102}|2021-02
rtx-3070|8|448|20.3|20.3|40.6|40.6||{_GA102}|2021-02
rtx-3060|12|360|12.7|||||GeForce RTX 3060 page|2021-02
rtx-2080-ti|11|616|13.4||53.8|||NVIDIA Turing GPU Architecture white paper|2018-09
mi355x|288|8000|157.3||2516.6|2516.6|5033.2|AMD Instinct MI355X data sheet|2025-06
mi350x|288|8000|144.2||2306.9|2306.9|4613.7|AMD Instinct MI350X data sheet|2025-06
mi325x|256|6000|163.4|653.7|1307.4|1307.4|2614.9|AMD Instinct MI325X data sheet|2024-10
mi300x|192|5300|163.4|653.7|1307.4|1307.4|2614.9|AMD Instinct MI300X data sheet|2023-12
mi300a|128|5300|122.6|490.3|980.6|980.6|1961.2|AMD Instinct MI300A data sheet|2023-12
mi250x|128|3277|47.9||383|383||AMD Instinct MI250X data sheet, both dies|2021-11
mi210|64|1638|22.6||181|181||AMD Instinct MI210 data sheet|2022-03
mi100|32|1229|23.1||184.6|92.3||AMD Instinct MI100 data sheet|2020-11
rx-7900-xtx|24|960|61.4||122.8|122.8||AMD Radeon RX 7900 XTX page|2022-12
tpu-v6e|32|1640||||918||{_CLOUD_TPU}|2024-12
tpu-v5p|95|2765||||459||{_CLOUD_TPU}|2023-12
tpu-v5e|16|819||||197||{_CLOUD_TPU}|2023-08
tpu-v4|32|1228||||275||{_CLOUD_TPU}|2022-05
gaudi3|128|3700||||1835|1835|Intel Gaudi 3 AI accelerator white paper|2024-04
gaudi2|96|2450||||||Intel Gaudi 2 product page|2022-05
trainium2|96|2900||||667|1299|AWS Trainium2 architecture, Neuron documentation|2024-12
trainium1|32|820|47.5|190|190|190|190|AWS Trainium architecture, Neuron documentation|2022-10
"""
_RATES = ("fp32", "tf32", "fp16", "bf16", "fp8")
_ALIASES = {
    "h100": "h100-80gb", "h100-sxm": "h100-80gb", "h100-pcie": "h100-pcie-80gb",
    "h100-nvl": "h100-nvl-94gb", "a100": "a100-80gb", "v100": "v100-16gb", "p100": "p100-16gb",
    "h200-141gb": "h200", "gh200": "gh200-96gb", "4090": "rtx-4090", "3090": "rtx-3090",
    "5090": "rtx-5090", "a6000": "rtx-a6000", "h20": "h20-96gb", "rtx4090": "rtx-4090",
    "rtx3090": "rtx-3090", "rtx5090": "rtx-5090",
}  # fmt: skip


@cache
def devices() -> Mapping[str, Device]:
    """Every known device by its name, the names in order of the table."""
    return {device.name: device for device in _read()}


def _read() -> Iterator[Device]:
    for row in _ROWS.split("\n"):
        if not row:
            continue
        name, memory, bandwidth, *rates, source, date = row.split("|")
        yield Device(
            name,
            int(memory) * GIB,
            float(bandwidth) * 1e9,
            {dtype: float(rate) * 1e12 for dtype, rate in zip(_RATES, rates, strict=True) if rate},
            source.strip(),
            date,
        )


def device(text: str) -> Device:
    """A device by its name, or of a size: `h100-80gb`, `24GiB`.

    Raises:
        ValueError: It is neither; the text names the nearest devices.
    """
    if text[:1].isdigit() and text.strip()[-1:].upper() in ("B", "G", "M", "T"):
        try:
            return Device(text, parse_bytes(text))
        except ValueError:
            pass
    table = devices()
    names = {**table, **{alias: table[name] for alias, name in _ALIASES.items()}}
    return known(text, names, "device", "; or say its memory, such as 24GiB")


def device_name(text: str) -> str:
    """The name of a known device, or the size as it is written.

    Raises:
        ValueError: As `device` does.
    """
    return device(text).name
