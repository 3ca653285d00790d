"""Parts that formats share: image files beside lines of JSON, paired folders, Parquet tables, masks."""
