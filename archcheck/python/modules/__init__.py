"""Classes, nn.Modules among them: their attributes, submodules, layers and containers.

In: scopes. Out: `ClassDefinition`, `ModuleClass`, `Layer`.
"""
