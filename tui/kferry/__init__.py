"""kferry moves topics and consumer groups from any Kafka-compatible cluster into AutoMQ."""

__version__ = "0.1.0"
