"""`flywheel fraud flink`: a rule as Flink SQL, and as what the Flink Kubernetes operator runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flywheel.commands.options import Duration
from flywheel.commands.release_options import Name

if TYPE_CHECKING:
    from flywheel.api.fraudrule import FraudRule
    from flywheel.api.problem import Problem


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--namespace", "-n", type=Name(), help="Where the Campaign is; that of the rule by default.")
@click.option("--campaign", type=Name(), help="Which one, for a rule with a selector.")
@click.option("--kafka", required=True, help="Addresses of Kafka, such as kafka-0.kafka:9092,kafka-1.kafka:9092.")
@click.option("--kafka-property", "properties", multiple=True, help="Property of Kafka's clients, such as KEY=VALUE.")
@click.option("--topic-prefix", type=Name(), default="flywheel", show_default=True, help="How all topics begin.")
@click.option("--disorder", type=Duration(), default="2s", show_default=True, help="How far out of order arrivals are.")
@click.option("--deployment", is_flag=True, help="Print a ConfigMap and a FlinkDeployment, not the SQL alone.")
@click.option("--image", default="", help="With --deployment: Flink 2.3 with Kafka's SQL connector.")
@click.option("--directory", default="", help="With --deployment: where savepoints are kept, such as s3://flink/rules.")
@click.option("--parallelism", type=click.IntRange(1, 128), default=1, show_default=True, help="Tasks that share keys.")
@click.option("--service-account", type=Name(), default="flink", show_default=True, help="What Flink's pods are.")
def flink(
    file: Path,
    namespace: str | None,
    campaign: str | None,
    *,
    kafka: str,
    properties: tuple[str, ...],
    topic_prefix: str,
    disorder: float,
    deployment: bool,
    image: str,
    directory: str,
    parallelism: int,
    service_account: str,
) -> None:
    """Write the FraudRule in FILE as Flink SQL, which finds what the fraud worker finds.

    It reads the events of a campaign from a topic of Kafka, and writes verdicts to another. With --deployment it is
    what the Flink Kubernetes operator runs, upgraded by savepoints. Nothing is changed in the cluster.
    """
    import yaml

    from flywheel.fraud.compiling import rule_of
    from flywheel.fraud.flink_manifests import Deployment, manifests
    from flywheel.fraud.flink_manifests import problems as wrong_deployment
    from flywheel.fraud.flink_refusals import refused
    from flywheel.fraud.flink_sql import script, statements
    from flywheel.fraud.flink_topics import Topics
    from flywheel.fraud.flink_topics import problems as wrong_properties

    rule = _read(file)
    _stop(file, refused(rule))
    given = _properties(properties)
    _stop("--kafka-property", wrong_properties(given))
    where, about = namespace or rule.namespace or "default", _campaign_of(rule, campaign)
    topics = Topics(kafka, where, about, topic_prefix, given)
    judged = rule_of(rule)
    sql = script(statements(judged, topics.source(rule.name), topics.sink(), round(disorder * 1000)))
    if not deployment:
        click.echo(sql, nl=False)
        return
    wanted = Deployment(where, about, image, directory, parallelism, service_account)
    _stop("--deployment", wrong_deployment(wanted))
    click.echo(yaml.safe_dump_all(manifests(rule.name, sql, wanted), sort_keys=False, allow_unicode=True), nl=False)


def _read(file: Path) -> "FraudRule":
    import yaml

    from flywheel.api.load import InvalidResource, load_fraudrule

    try:
        found = [each for each in yaml.safe_load_all(file.read_text()) if each and each.get("kind") == "FraudRule"]
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        raise click.ClickException(f"{file} cannot be read as YAML: {error}") from error
    if len(found) != 1:
        raise click.ClickException(f"{file} must have one FraudRule, and has {len(found)}.")
    try:
        return load_fraudrule(found[0])
    except InvalidResource as error:
        raise click.ClickException(f"{file} has no valid FraudRule:\n{error}") from error


def _stop(what: object, found: "tuple[Problem, ...]") -> None:
    if found:
        raise click.ClickException("\n".join([f"{what} cannot be carried out by Flink:", *map(str, found)]))


def _properties(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    if wrong := next((each for each, pair in zip(given, pairs, strict=True) if not pair[0] or not pair[1]), None):
        raise click.BadParameter(f"{wrong!r} is not KEY=VALUE.", param_hint="--kafka-property")
    return {key: value for key, _, value in pairs}


def _campaign_of(rule: "FraudRule", given: str | None) -> str:
    name = rule.spec.campaign or given
    if name is None:
        raise click.UsageError(f"{rule.name} is about several Campaigns: say with --campaign whose events it reads.")
    if given not in (None, name):
        raise click.UsageError(f"{rule.name} is about the Campaign {name}, not {given}.")
    return name
