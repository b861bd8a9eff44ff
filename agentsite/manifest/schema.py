"""amodal.json as values. The blocks live in files of their own and are gathered here."""

from agentsite.manifest.models import Api, Credentials, ModelConfig, Models, ProviderName

__all__ = ["Api", "Credentials", "ModelConfig", "Models", "ProviderName"]
