"""What every command shares: parsers, configurations, presets, messages, and how processes begin and end."""
