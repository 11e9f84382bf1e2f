"""ERP Connector Framework: one port, one adapter per ERP."""
