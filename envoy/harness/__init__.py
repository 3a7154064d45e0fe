"""Everything that stands round the filter when it is tried or tested: Envoy, a mock provider, a mock judge.

The servers need the standard library alone. Only the rendering of `envoy.yaml` needs PyYAML, which
`harness.tools` puts into the project's own virtual environment.
"""
