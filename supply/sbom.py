"""The bill of materials of what is served: CycloneDX, in JSON."""

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from supply.licence import Licensed, licences
from supply.lock import ROOT


class BillError(ValueError):
    """The bill that was made is none."""


def sbom() -> str:
    """Return the bill of the packages that are served with, of this environment and of the pages.

    Raises:
        BillError: it does not follow the schema of CycloneDX 1.6.
    """
    bill = Bom()
    root = Component(name="fieldward", version=_version(), type=ComponentType.APPLICATION, bom_ref="fieldward")
    bill.metadata.component = root
    components = [_component(one) for one in licences()]
    for component in components:
        bill.components.add(component)
    bill.register_dependency(root, components)
    text: str = JsonV1Dot6(bill).output_as_string(indent=2)
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise BillError(str(error))
    return text + "\n"


def _component(one: Licensed) -> Component:
    package = one.package
    namespace, _, name = package.name.rpartition("/")
    url = PackageURL(package.kind, namespace or None, name, package.version)
    component = Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=url.to_string(),
        licenses=[LicenseExpression(one.licence)] if one.licence is not None else None,
    )
    if package.kind == "npm":
        component.hashes.add(HashType(alg=HashAlgorithm(package.algorithm), content=package.hashes[0]))
    else:
        # One for each file of the release: any of them may be what is installed.
        component.properties.update(Property(name="fieldward:locked:sha256", value=one) for one in package.hashes)
    return component


def _version() -> str:
    for line in (ROOT / "pyproject.toml").read_text().splitlines():
        if line.startswith("version = "):
            return line.partition('"')[2].rstrip('"')
    raise BillError("pyproject.toml names no version.")
