"""Helpers that record what applications built on other people's frameworks say: LangChain and LangGraph.

Nothing here is loaded by `import mlsdk`; each module names the extra that it needs.
"""
